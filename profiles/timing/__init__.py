"""Latency: samples, steadiness, and what one ratio shows."""
