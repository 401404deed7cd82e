"""What is minimised: functions of tensors, and the history of fakes."""
