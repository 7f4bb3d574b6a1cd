"""What a router decides, learned from outside: who served a request, and what it says of itself."""
