from pathlib import Path

PIPELINE = "employees:LoadEverything"
DATABASE_URL = f"sqlite:///{Path(__file__).parent / 'employees.db'}"
