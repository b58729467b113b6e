"""The machine that segattn runs on: versions, hardware, and advice."""
