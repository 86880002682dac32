"""Libraries that solve integer programs, each behind one question and one answer, in workers."""
