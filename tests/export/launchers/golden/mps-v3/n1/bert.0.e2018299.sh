#!/bin/sh
# Written by colocate export; changes are lost when it is written again.
# Planned: bert.0.e2018299 with 60 % of GPU-00000000-1111-2222-3333-444444444440, batch 16
set -eu
cd -- /srv/bert
set -- \
  ${HOME+"HOME=$HOME"} \
  ${LANG+"LANG=$LANG"} \
  ${LC_ALL+"LC_ALL=$LC_ALL"} \
  ${PATH+"PATH=$PATH"} \
  ${TZ+"TZ=$TZ"} \
  COLOCATE_UNIT=bert.0.e2018299 \
  'MODEL=bert base; $HOME' \
  SHARE=60 \
  CUDA_MPS_LOG_DIRECTORY=/run/colocate/mps/00000000/log \
  CUDA_MPS_PIPE_DIRECTORY=/run/colocate/mps/00000000/pipe/gpu/bert_0_e_27c06e98a7 \
  CUDA_VISIBLE_DEVICES=GPU-00000000-1111-2222-3333-444444444440
exec env -i "$@" /opt/serve/run --port=8000 --batch 16 --say 'it'"'"'s 100 % "$5"'
