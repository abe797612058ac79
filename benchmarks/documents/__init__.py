"""Documents read by memvid and by others: words kept, order, tables, time and memory."""
