"""What a run shows when it is done: sample sheets, the report page and the model card."""
