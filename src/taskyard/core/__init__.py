"""The record of every task and its rules: a Django app."""
