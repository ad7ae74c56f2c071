"""Other protocols on the same runs: who calls, limits, log and endings are those of `/api`, told in others' words."""
