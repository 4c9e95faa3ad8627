"""What is doubtful about a run, before it begins."""
