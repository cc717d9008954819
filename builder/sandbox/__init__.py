"""Containers as processes: what one needs (spec), who starts it (zygote), what runs inside."""
