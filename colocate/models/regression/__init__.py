"""Fitted regressors, evaluated from plain arrays."""
