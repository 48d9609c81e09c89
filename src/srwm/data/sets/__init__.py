"""The data sets: each a loader that gives `{"train", "val", "test"}` as `ImageClasses`."""
