#!/bin/bash
# x.sh NAME recipe args…
n=$1; shift; cd /work/main
OMP_NUM_THREADS=1 GOMP_SPINCOUNT=0 .venv/bin/python .gpu/explore.py train "$@" --seed 0 --folder /tmp/x/$n > /tmp/x/$n.log 2>&1
