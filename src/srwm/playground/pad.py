"""A pad to draw on with a mouse, a finger or a pen, as a component of a Gradio page. Its value is a PNG as a data URL."""

import base64
import binascii
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio as gr
    from PIL.Image import Image

SIDE = 320
"""pixels a side"""
_PREFIX = "data:image/png;base64,"
_TEMPLATE = f"""<canvas width="{SIDE}" height="{SIDE}"></canvas><div><button type="button">Clear drawing</button></div>"""
_STYLE = """canvas { border: 1px solid #bbb; border-radius: 6px; background: white; cursor: crosshair; touch-action: none;
max-width: 100%; } button { font-size: 0.9em; text-decoration: underline; cursor: pointer; }"""
_SCRIPT = """
let strokes = [], drawing = false;
function redraw() {
  const canvas = element.querySelector('canvas'), pen = canvas.getContext('2d');
  pen.fillStyle = 'white';
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.strokeStyle = pen.fillStyle = 'black';
  pen.lineWidth = 10;
  pen.lineCap = pen.lineJoin = 'round';
  for (const stroke of strokes) {
    pen.beginPath();
    pen.moveTo(...stroke[0]);
    for (const point of stroke.length > 1 ? stroke : [stroke[0], stroke[0]]) pen.lineTo(...point);
    pen.stroke();
  }
  return canvas;
}
function place(event) {
  const canvas = element.querySelector('canvas'), box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
}
function tell() {
  props.value = strokes.length ? redraw().toDataURL('image/png') : '';
  redraw();
  trigger('input');
}
element.addEventListener('pointerdown', event => {
  if (event.target.tagName !== 'CANVAS' || event.button !== 0) return;
  event.preventDefault();
  drawing = true;
  strokes.push([place(event)]);
  redraw();
});
window.addEventListener('pointermove', event => {
  if (!drawing) return;
  strokes.at(-1).push(place(event));
  redraw();
});
for (const end of ['pointerup', 'pointercancel']) window.addEventListener(end, () => {
  if (!drawing) return;
  drawing = false;
  tell();
});
element.addEventListener('click', event => {
  if (event.target.tagName !== 'BUTTON') return;
  strokes = [];
  redraw();
  tell();
});
watch('value', () => {
  if (!props.value) strokes = [];
  redraw();
});
redraw();
"""


def pad(elem_id: str) -> "gr.HTML":
    """The component; its event `input` comes after every stroke, and the value "" clears it.

    Args:
        elem_id: its id in the page.

    Returns:
        The component.
    """
    import gradio as gr

    return gr.HTML("", html_template=_TEMPLATE, css_template=_STYLE, js_on_load=_SCRIPT, elem_id=elem_id)


def drawing(value: str | None) -> "Image | None":
    """The picture on a pad.

    Args:
        value: the value of the component.

    Returns:
        The picture; None if the pad is empty.

    Raises:
        ValueError: the value is no PNG.
    """
    from PIL import Image

    if not value:
        return None
    try:
        if not value.startswith(_PREFIX):
            raise ValueError("another form")
        data = base64.b64decode(value.removeprefix(_PREFIX), validate=True)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if max(picture.size) > SIDE:
                raise ValueError("too large")
            return picture.convert("L")
    except (ValueError, OSError, SyntaxError, binascii.Error, Image.DecompressionBombError) as error:
        raise ValueError(f"drawing: expected a PNG of at most {SIDE} pixels a side as a data URL") from error
