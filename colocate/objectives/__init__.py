"""What a plan is worth. One short file for each objective; see `base` for what each must say."""
