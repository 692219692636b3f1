#!/bin/sh
# What no program of ours reads of the libraries in /opt/venv goes: tests, headers, a notebook's widgets, pyarrow's
# clients of Flight and S3, what only a debugger reads. NumPy's and Pillow's own libraries cannot be stripped.
set -eu
cd /opt/venv
rm -rf share
cd lib/python3*/site-packages
rm -rf pyarrow/tests pyarrow/include pyarrow/src pyarrow/*flight* pyarrow/libarrow_s3* pyarrow/_s3fs* \
    pyarrow/_substrait* pyarrow/libarrow_python.so pyarrow/libarrow_python.so.*.*.* pandas/tests numpy/*/tests \
    pydeck/nbextension
find . -path './*.libs' -prune -o -type f \( -name '*.so' -o -name '*.so.*' \) -exec strip --strip-unneeded {} +
