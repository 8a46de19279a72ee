"""Models and database: what differs, and bringing the database to what the models say."""
