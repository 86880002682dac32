#!/bin/sh
# Written by colocate export; changes are lost when it is written again.
# One MPS daemon for each GPU: a fault stays on its GPU.
set -eu
here=$(cd -- "$(dirname -- "$0")" && pwd)
mkdir -p -m 0700 /run/colocate/mps/00000000/pipe /run/colocate/mps/00000000/log
CUDA_VISIBLE_DEVICES=GPU-00000000-1111-2222-3333-444444444440 CUDA_MPS_PIPE_DIRECTORY=/run/colocate/mps/00000000/pipe \
  CUDA_MPS_LOG_DIRECTORY=/run/colocate/mps/00000000/log nvidia-cuda-mps-control -d -p 3 -a "$here"/mps-00000000.toml
mkdir -p -m 0700 /run/colocate/mps/00000001/pipe /run/colocate/mps/00000001/log
CUDA_VISIBLE_DEVICES=GPU-00000001-1111-2222-3333-444444444441 CUDA_MPS_PIPE_DIRECTORY=/run/colocate/mps/00000001/pipe \
  CUDA_MPS_LOG_DIRECTORY=/run/colocate/mps/00000001/log nvidia-cuda-mps-control -d -p 3 -a "$here"/mps-00000001.toml
