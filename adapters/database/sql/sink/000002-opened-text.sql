-- What is in a payload, where the user has it opened for this database.

alter table {schema}.payload add column text text;
