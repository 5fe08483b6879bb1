"""Models as llama.cpp, Ollama and LM Studio keep them: one GGUF file, or one split into several."""
