"""What is allowed. One short file for each constraint; see `base` for what each must say."""
