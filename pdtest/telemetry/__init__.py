"""What members tell of themselves over time: asked again and again, or read from a log that grows."""
