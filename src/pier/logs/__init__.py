"""What containers write: the pump that moves it, the log drivers, reading back."""
