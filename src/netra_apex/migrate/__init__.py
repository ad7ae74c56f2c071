"""A side room: finds every copy and use of what is deprecated in a code base, and moves the uses. Knows no runtime."""
