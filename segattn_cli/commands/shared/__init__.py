"""What several commands share: options, output paths, progress, signals, and text for a terminal."""
