"""The page: a Gradio application around `Session`."""

import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from srwm.errors import UserError
from srwm.learner.answers import Answer
from srwm.playground.pad import drawing
from srwm.playground.pad import pad as drawing_pad
from srwm.playground.session import Session

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when Gradio is imported: nothing leaves this machine
import gradio as gr

_ABOUT = """# Teach a memory a few letters
Draw a letter or drop an image of one, write its name, and **teach**. One drawing of each letter is enough. From the second
letter on, draw another one: the answer follows your pen. No weight of the model is trained; all that it learns is in the
picture on the right."""
_WRITTEN = """**What the memory wrote.** Left: by the last example. Right: in all. A row is a block of the model; red is above
0, blue below. In a self-referential matrix, lines separate the columns of output y, query q, key k and learning rates beta."""
_NOTHING = "Nothing was learned yet."
_KEPT_SECONDS = 3600

Shown = tuple[Any, ...]


def build(model: str | Path = "characters") -> gr.Blocks:
    """The application. Every visitor has a learner of their own.

    Args:
        model: a model as `srwm.load_model` takes it.

    Returns:
        The application, to be launched by `launch`.

    Raises:
        UserError: the model cannot be loaded.
    """
    first = Session.begun(model)
    with gr.Blocks(title="srwm playground", analytics_enabled=False, delete_cache=(_KEPT_SECONDS, _KEPT_SECONDS)) as page:
        session = gr.State(first, time_to_live=_KEPT_SECONDS)
        gr.Markdown(_ABOUT)
        with gr.Row():
            with gr.Column():
                pad = drawing_pad(elem_id="pad")
                file = gr.Image(
                    label="Or an image file",
                    type="filepath",
                    image_mode=None,
                    sources=["upload", "clipboard"],
                    height=150,
                    buttons=[],
                    elem_id="file",
                )
                name = gr.Textbox(label="Name of the letter", max_length=60, elem_id="name")
                with gr.Row():
                    teach = gr.Button("Teach", variant="primary", elem_id="teach")
                    ask = gr.Button("Ask", elem_id="ask")
                status = gr.Markdown(_NOTHING, elem_id="status")
            with gr.Column():
                answer = gr.Label(label="Answer", num_top_classes=5, elem_id="answer")
                gr.Markdown(_WRITTEN)
                written = gr.Image(show_label=False, interactive=False, buttons=[], elem_id="written")
                with gr.Row():
                    save = gr.DownloadButton("Save memory", interactive=False, elem_id="save")
                    load = gr.UploadButton("Load memory", file_types=[".safetensors"], elem_id="load")
                    forget = gr.Button("Forget all", elem_id="forget")
        changed = [session, status, written, save, answer]
        given = [session, pad, file]
        taught = [*changed, pad, file, name]
        teach.click(_teach, [*given, name], taught, show_progress="hidden")
        name.submit(_teach, [*given, name], taught, show_progress="hidden")
        ask.click(_ask, given, answer, show_progress="hidden")
        pad.input(_ask, given, answer, show_progress="hidden", trigger_mode="always_last")
        file.input(_ask, given, answer, show_progress="hidden")
        load.upload(_load, [session, load], changed, show_progress="hidden")
        forget.click(_forget, session, changed, show_progress="hidden")
    return page


def launch(page: gr.Blocks, **options: Any) -> None:
    """Serve the application until Ctrl-C, with the fonts of the visitor's system alone.

    Args:
        page: the application.
        **options: of Gradio's `launch`.
    """
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    page.launch(theme=theme, ssr_mode=False, share=False, footer_links=[], **options)


def shares(answer: Answer | None) -> dict[str, float] | None:
    """An answer as `gr.Label` shows it.

    Args:
        answer: the answer, or None.

    Returns:
        Probabilities by class, and of being unknown.
    """
    if answer is None:
        return None
    why = f"unknown ({answer.reason})" if answer.reason else "unknown"
    return {str(label): share for label, share in answer.probabilities.items()} | {why: answer.unknown}


def _teach(session: Session, value: str, file: str | None, name: str) -> Shown:
    try:
        said = session.teach(file or drawing(value), name)
    except (ValueError, UserError) as error:
        raise _shown_error(error, file) from error
    return *_shown(session, said), "", None, ""


def _ask(session: Session, value: str, file: str | None) -> dict[str, float] | None:
    try:
        return shares(session.ask(file or drawing(value)))
    except (ValueError, UserError) as error:
        raise _shown_error(error, file) from error


def _load(session: Session, path: str) -> Shown:
    try:
        session.load(Path(path))
    except UserError as error:
        raise _shown_error(error, path) from error
    return _shown(session, "Loaded.")


def _forget(session: Session) -> Shown:
    session.forget()
    return _shown(session, "")


def _shown_error(error: Exception, file: str | None) -> Exception:
    """An error as a message on the page, without the place where the server keeps an uploaded file."""
    shown: Exception = gr.Error(str(error).removeprefix(f"{file}: "), print_exception=False)
    return shown


def _shown(session: Session, said: str) -> Shown:
    known = session.classes()
    text = f"{said} Known: {', '.join(map(str, known))}." if known else _NOTHING
    return session, text, session.written(), _saved(session), None


def _saved(session: Session) -> gr.DownloadButton:
    """The button that downloads the memory, which is written to a file for it."""
    if not session.classes():
        return gr.DownloadButton("Save memory", value=None, interactive=False)
    path = Path(_folder().name) / str(id(session)) / "memory.safetensors"
    path.parent.mkdir(exist_ok=True)
    session.learner.save(path)
    return gr.DownloadButton("Save memory", value=str(path), interactive=True)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Where memories lie until they are downloaded, one for each visitor; removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="srwm-")
