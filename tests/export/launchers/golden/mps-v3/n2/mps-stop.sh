#!/bin/sh
# Written by colocate export; changes are lost when it is written again.
# One MPS daemon for each GPU: a fault stays on its GPU.
set -eu
echo quit | CUDA_MPS_PIPE_DIRECTORY=/run/colocate/mps/00000002/pipe nvidia-cuda-mps-control
