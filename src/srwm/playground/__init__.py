"""A page in the browser to teach a few-shot learner by drawing: `srwm playground`. Needs `srwm[playground]`."""
