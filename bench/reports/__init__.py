"""What a person reads of records: answers, tables, figures. Imports records and presentation, and nothing that measures."""
