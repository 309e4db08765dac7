"""The kinds of stories. A kind is a module with one class that implements `StoryKind`, and a row in `registry.KINDS`."""
