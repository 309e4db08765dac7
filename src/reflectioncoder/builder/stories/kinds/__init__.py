"""The kinds of stories. Each kind is a module with a class that implements `StoryKind`, and has a row in `registry.KINDS`."""
