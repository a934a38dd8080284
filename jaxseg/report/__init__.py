"""One self-contained HTML page that shows a run: charts, scores and a gallery of predictions."""
