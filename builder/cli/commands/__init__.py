"""One module per command; being here is what makes a command exist."""
