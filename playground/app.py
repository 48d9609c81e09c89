"""The playground as a Hugging Face Space; on a machine of your own, `srwm playground` is the same page."""

from srwm.playground.page import build, launch

if __name__ == "__main__":
    launch(build())
