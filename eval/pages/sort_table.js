// A click on a header of a sortable table sorts its rows by that column, a second one the other way
// round. Cells without a value stay below.
for (const table of document.querySelectorAll('table.sortable')) {
  const headers = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const cell = row.cells[column];
    return 'value' in cell.dataset ? Number(cell.dataset.value) : cell.textContent.trim();
  };
  const compare = (a, b) =>
    typeof a === 'number' && typeof b === 'number' ? a - b
      : String(a).localeCompare(String(b), undefined, {numeric: true});
  const isMissing = (value) => value === '' || value === '\u2013' || Number.isNaN(value);
  const sort = (column) => {
    const rows = [...table.tBodies[0].rows], header = headers[column];
    const before = header.getAttribute('aria-sort');
    const isNumeric = header.classList.contains('number');
    const falls = before ? before === 'ascending' : isNumeric;
    rows.sort((one, other) => {
      const a = key(one, column), b = key(other, column);
      if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b);
      return falls ? compare(b, a) : compare(a, b);
    });
    for (const other of headers) other.removeAttribute('aria-sort');
    header.setAttribute('aria-sort', falls ? 'descending' : 'ascending');
    table.tBodies[0].append(...rows);
  };
  headers.forEach((header, column) => {
    header.tabIndex = 0;
    header.title = 'sort by ' + header.textContent;
    header.addEventListener('click', () => sort(column));
    header.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      sort(column);
    });
  });
}
