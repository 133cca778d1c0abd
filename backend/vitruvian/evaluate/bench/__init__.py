"""Speed and memory, a module a part: each as a ratio against a named alternative in the same run."""
