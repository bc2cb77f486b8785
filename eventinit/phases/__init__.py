"""What each phase of a start does, one file per phase."""
