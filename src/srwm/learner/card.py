"""The model cards of checkpoints: the README.md beside their files."""

from srwm.fewshot.models.residual import ResidualModel
from srwm.fewshot.models.sequence import FewShotModel
from srwm.streams.model import StreamModel


def few_shot_card(model: FewShotModel) -> str:
    """The model card of a few-shot model: Markdown with the header that the Hugging Face Hub reads.

    Args:
        model: The model, with its `metadata`.

    Returns:
        The text of the card.
    """
    config, stack, metadata = model.config, model.config.stack, model.metadata
    return f"""---
library_name: srwm
tags:
- few-shot-learning
- meta-learning
- fast-weights
- self-referential-weight-matrix
---

# A few-shot learner

{_heads(model)} The recurrent core is `{stack.core}`, {stack.num_layers} blocks of width {stack.d_model}.

- Images: {config.image_shape}, stem {config.stem}; preprocessing: {metadata.preprocess}
{_facts(model)}

```python
from srwm import FewShotLearner

learner = FewShotLearner.from_pretrained("FOLDER OR HUB NAME OF THIS MODEL")
learner.learn(images, labels)
learner.predict(more_images)
```
"""


def stream_card(model: StreamModel) -> str:
    """The model card of a model of streams: Markdown with the header that the Hugging Face Hub reads.

    Args:
        model: The model, with its `metadata`.

    Returns:
        The text of the card.
    """
    config, stack = model.config, model.config.stack
    return f"""---
library_name: srwm
tags:
- tabular-classification
- online-learning
- meta-learning
- fast-weights
---

# A classifier of streams

The model learns each labeled sample of a stream as it comes, without a gradient step: its recurrent state changes, its weights
do not. The recurrent core is `{stack.core}`, {stack.num_layers} blocks of width {stack.d_model}.

- At most {config.num_features} features directly, more by projection; at most {config.num_classes} classes
{_facts(model)}

```python
from srwm import StreamClassifier

classifier = StreamClassifier("FOLDER OR HUB NAME OF THIS MODEL")
for x, y in stream:
    print(classifier.predict_one(x))
    classifier.learn_one(x, y)
```
"""


def _heads(model: FewShotModel) -> str:
    ways = model.config.n_way
    if not isinstance(model, ResidualModel):
        return (
            f"The model learns up to {ways} classes from labeled images without a gradient step: its recurrent state changes,\n"
            "its weights do not."
        )
    return (
        "The model learns from labeled images without a gradient step: its state changes, its weights do not. It has three\n"
        "heads on one stem: class means after LayerNorm and a learned map (`prototypes`, the default, any number of\n"
        f"classes), a recurrent memory (`memory`, up to {ways} classes), and both together (`residual`)."
    )


def _facts(model: FewShotModel | StreamModel) -> str:
    numbers = sum(parameter.numel() for parameter in model.parameters())
    results = "".join(f"\n- {test}: {result}" for test, result in model.metadata.results.items())
    return f"- Parameters: {numbers:,}\n- Trained on: {model.metadata.trained_on or 'not stated'}{results}"
