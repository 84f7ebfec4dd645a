"""What every room uses: files written whole, locks, bars of progress."""
