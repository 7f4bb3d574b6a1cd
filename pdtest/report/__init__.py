"""What people look at: progress, failure sections, replays."""
