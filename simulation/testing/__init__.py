"""What tests of a user's own need: pools made for one test, many schedules, stories, an audit.

``twinclock_pytest.py`` is the plugin itself: options, fixtures and hooks, cheap to import. What it
does stands here, and is imported when a test first uses it. Nothing here imports pytest but
``second``, which runs inside the audit's own process.
"""
