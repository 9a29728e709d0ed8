/// Rows of columns that are lists, or {of: values, at: which of them each row has}.
export function rowsOf(columns) {
  const rows = [];
  for (const [key, column] of Object.entries(columns)) {
    const values = Array.isArray(column) ? column : column.at.map((place) => column.of[place]);
    values.forEach((value, i) => ((rows[i] ??= {})[key] = value));
  }
  return rows;
}
