"""What a run is: its configuration, its folder, what is prepared for it and how it is scored."""
