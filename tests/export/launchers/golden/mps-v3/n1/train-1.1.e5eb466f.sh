#!/bin/sh
# Written by colocate export; changes are lost when it is written again.
# Planned: train-1.1.e5eb466f with 40 % of GPU-00000001-1111-2222-3333-444444444441, batch 64
set -eu
cd -- /srv/train
set -- \
  ${HOME+"HOME=$HOME"} \
  ${PATH+"PATH=$PATH"} \
  BATCH=64 \
  COLOCATE_UNIT=train-1.1.e5eb466f \
  CUDA_MPS_LOG_DIRECTORY=/run/colocate/mps/00000001/log \
  CUDA_MPS_PIPE_DIRECTORY=/run/colocate/mps/00000001/pipe/gpu/train_1_fe8878188a \
  CUDA_VISIBLE_DEVICES=GPU-00000001-1111-2222-3333-444444444441
exec env -i "$@" python3 train.py train-1 1
