"""Start LLM inference nodes as typed async events that handlers can change, veto and watch."""
