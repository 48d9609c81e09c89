"""The model card of a checkpoint: the README.md beside its files."""

from srwm.fewshot.models.sequence import FewShotModel


def model_card(model: FewShotModel) -> str:
    """The model card: Markdown with the header that the Hugging Face Hub reads.

    Args:
        model: The model, with its `metadata`.

    Returns:
        The text of the card.
    """
    config, stack, metadata = model.config, model.config.stack, model.metadata
    numbers = sum(parameter.numel() for parameter in model.parameters())
    results = "".join(f"\n- {test}: {result}" for test, result in metadata.results.items())
    return f"""---
library_name: srwm
tags:
- few-shot-learning
- meta-learning
- fast-weights
- self-referential-weight-matrix
---

# A few-shot learner

The model learns up to {config.n_way} classes from labeled images without a gradient step: its recurrent state changes, its
weights do not. The recurrent core is `{stack.core}`, {stack.num_layers} blocks of width {stack.d_model}.

- Images: {config.image_shape}, stem {config.stem}; preprocessing: {metadata.preprocess}
- Parameters: {numbers:,}
- Trained on: {metadata.trained_on or "not stated"}{results}

```python
from srwm import FewShotLearner

learner = FewShotLearner.from_pretrained("FOLDER OR HUB NAME OF THIS MODEL")
learner.learn(images, labels)
learner.predict(more_images)
```
"""
