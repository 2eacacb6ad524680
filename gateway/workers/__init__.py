"""What runs beside the API: settler, reaper, snapshot poller, notifier."""
