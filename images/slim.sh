#!/bin/sh
# What no program of ours reads of the libraries in /opt/venv goes: tests, sources of what is compiled, a notebook's
# widgets, NumPy's compilers, pyarrow's clients of Flight and S3, and what only a debugger reads. NumPy's and Pillow's own
# libraries would not load once stripped.
set -eu
cd /opt/venv
rm -rf share
cd lib/python3*/site-packages
rm -rf pyarrow/include pyarrow/src pyarrow/*flight* pyarrow/libarrow_s3* pyarrow/_s3fs* pyarrow/_substrait* \
    pyarrow/libarrow_python.so pyarrow/libarrow_python.so.*.*.* pydeck/nbextension numpy/f2py numpy/distutils
find . -type d -name tests -prune -exec rm -rf {} +
find . -type f \( -name '*.pyx' -o -name '*.px[di]' -o -name '*.pyi' -o -name '*.[acCh]' -o -name '*.[ch]pp' \) -delete
find . -path './*.libs' -prune -o -type f \( -name '*.so' -o -name '*.so.*' \) -exec strip --strip-unneeded {} +
