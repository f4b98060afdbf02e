"""Reports: one HTML page that opens without the internet, and tables as CSV or Parquet beside it.

Plots are plotly's, written as its plain JSON; its JavaScript stands in the page (extra `report`).
"""
