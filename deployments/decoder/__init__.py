"""The prompt decoder's process: features in memory, prompts through the model, masks encoded."""
