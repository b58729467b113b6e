"""What annotation tools save, as a data set of plain folders: one file a tool, and what they share."""
